# The stream service: WebSockets that carry the audio of calls, one call a connection.

locals {
  stream_settings = merge(local.given_to["stream"], local.common_settings, {
    # One variable says how many calls an instance takes: Cloud Run stops there, and gunicorn makes so many threads and
    # eight more, because each call holds one and /health must still be answered.
    STREAM_CONCURRENCY = tostring(var.stream_concurrency)
    STREAM_SIGNATURE   = "required"
  })
}

resource "google_cloud_run_v2_service" "stream" {
  name                = local.stream_name
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_ALL" # Twilio's media servers have no fixed addresses
  deletion_protection = false                 # it holds nothing; what must not be lost is in the database

  # Of the service, not of each revision: a candidate and the revision that it may replace are not both kept warm.
  scaling {
    min_instance_count = var.stream_min_instances
  }

  template {
    service_account                  = google_service_account.stream.email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    max_instance_request_concurrency = var.stream_concurrency

    # A WebSocket is one request and ends with its timeout; an hour is the most there is. callbot moves a call to a new
    # stream before that (Cloud Run: WebSockets).
    timeout = "3600s"

    # It works by cookies and Twilio keeps none. Nothing needs it: any instance can take any stream of any call.
    session_affinity = false

    scaling {
      max_instance_count = var.stream_max_instances
    }

    containers {
      image = local.image

      ports {
        name           = "http1" # end-to-end HTTP/2 has no WebSocket handshake that flask-sock knows
        container_port = 8080
      }

      resources {
        limits = { cpu = var.stream_cpu, memory = var.stream_memory }

        # Always on. A call's connection by itself would keep the CPU on, but what a call leaves to be done when it ends
        # (its last turn to be written, Twilio to be told where the call goes on) is done after the connection has gone, and
        # without CPU that would wait for the next call.
        cpu_idle          = false
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.stream_settings
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = toset(local.secrets_of["stream"])
        content {
          name = env.value
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.this[env.value].secret_id
              version = google_secret_manager_secret_version.this[env.value].version
            }
          }
        }
      }

      startup_probe {
        period_seconds    = 1
        timeout_seconds   = 1
        failure_threshold = 60
        http_get {
          path = "/health"
        }
      }

      # An instance that does not answer for a minute and a half carries no audio either. Not sooner: restarting it ends
      # all its calls.
      liveness_probe {
        period_seconds    = 30
        timeout_seconds   = 10
        failure_threshold = 3
        http_get {
          path = "/health"
        }
      }
    }
  }

  # Normally the newest revision serves. While the pipeline tries a new one, the held one serves, and the newest can be
  # reached at its own address only.
  dynamic "traffic" {
    for_each = var.held_revision == "" ? [] : [var.held_revision]
    content {
      type     = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
      revision = traffic.value
      percent  = 100
    }
  }
  traffic {
    type    = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
    percent = var.held_revision == "" ? 100 : 0
    tag     = var.held_revision == "" ? null : "candidate"
  }

  depends_on = [time_sleep.grants, google_project_iam_member.records, google_cloud_run_v2_job.image]
}
