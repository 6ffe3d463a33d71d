# Whether the deployment can be reached, asked from three places of the world every five minutes.
#
# An uptime check wakes what has gone to sleep: with one request every hundred seconds, an instance is nearly always there. For
# the functions that is a gift: requests are short, and between them nothing is charged. The stream service is charged for as
# long as an instance is there, because its CPU is always on, so with none kept ready it is not asked: that would
# cost as much as keeping one. Google charges uptime checks from a million a month upwards; these are some 53,000.

locals {
  uptime = merge(
    {
      # A webhook takes nothing but Twilio's signed POST, and each refusal is a line in the log. A GET is answered with 405
      # by our own code, once it has been loaded and has read its settings and secrets: a missing function (404), one that
      # does not start (5xx) and one that is not public (403) answer otherwise.
      functions = {
        title = "functions"
        host  = "${var.region}-${var.project}.cloudfunctions.net"
        path  = "/${local.prefix}-incoming-call"
        good  = 405
      }
    },
    var.stream_min_instances == 0 ? {} : {
      stream = {
        title = "stream service"
        host  = local.stream_host
        path  = "/health"
        good  = 200 # 503 while it is being stopped
      }
    },
  )
}

resource "google_monitoring_uptime_check_config" "this" {
  for_each         = local.uptime
  display_name     = "${local.prefix} ${each.value.title}"
  period           = "300s"
  timeout          = "10s"
  selected_regions = ["ASIA_PACIFIC", "EUROPE", "USA_OREGON"]
  user_labels      = local.labels

  http_check {
    path           = each.value.path
    port           = 443
    use_ssl        = true
    validate_ssl   = true
    request_method = "GET"

    accepted_response_status_codes {
      status_value = each.value.good
    }
  }

  monitored_resource {
    type = "uptime_url"
    labels = {
      project_id = var.project
      host       = each.value.host
    }
  }

  # A check of what is not there yet would be the first alert.
  depends_on = [google_cloud_run_v2_service.stream, google_cloudfunctions2_function.this]
}
