# The six HTTP functions: one zip, one entry point each (functions/main.py), the same names as the local paths.

locals {
  # warm: a caller waits for it, so `functions_min_instances` counts for it. public: Twilio comes in, who has no Google
  # identity. seconds: Twilio itself waits 15 s for a webhook; the trigger also waits for Twilio to dial.
  functions = {
    "twiml"         = { kind = "functions", public = true, warm = true, seconds = 20 }
    "incoming-call" = { kind = "functions", public = true, warm = true, seconds = 20 }
    "call-flow"     = { kind = "functions", public = true, warm = true, seconds = 20 }
    "call-events"   = { kind = "functions", public = true, warm = false, seconds = 20 }
    "outgoing-call" = { kind = "trigger", public = var.trigger_auth == "key", warm = false, seconds = 60 }
    "calls"         = { kind = "reader", public = var.trigger_auth == "key", warm = false, seconds = 60 }
  }

  # One request mostly waits for Firestore or Twilio. The framework has four threads for each CPU unless it is told
  # otherwise (functions-framework: THREADS), and a request beyond them would wait for a caller's one.
  function_concurrency = 40

  functions_settings = merge(local.given_to["functions"], local.common_settings, {
    TWILIO_PHONE_NUMBER = var.phone_number
    OUTBOUND_REGIONS    = join(",", var.outbound_regions)
    TRIGGER_AUTH        = var.trigger_auth
    THREADS             = tostring(local.function_concurrency)
  })
}

resource "google_cloudfunctions2_function" "this" {
  for_each    = local.functions
  name        = "${local.prefix}-${each.key}"
  location    = var.region
  description = "/${each.key} of ${local.prefix}"

  build_config {
    runtime           = "python313"
    entry_point       = replace(each.key, "-", "_")
    docker_repository = google_artifact_registry_repository.images.id
    service_account   = google_service_account.builder.name

    source {
      storage_source {
        bucket = google_storage_bucket.sources.name
        object = google_storage_bucket_object.functions.name
      }
    }
  }

  service_config {
    service_account_email = local.runtime_accounts[each.value.kind].email
    ingress_settings      = "ALLOW_ALL" # Twilio, and operators, come from anywhere
    timeout_seconds       = each.value.seconds

    available_memory                 = "512M"
    available_cpu                    = "1" # with less, one request at a time
    max_instance_request_concurrency = local.function_concurrency
    min_instance_count               = each.value.warm ? var.functions_min_instances : 0
    max_instance_count               = var.functions_max_instances

    # While the pipeline tries a new revision, the one that serves keeps all traffic (release.py has pinned it).
    all_traffic_on_latest_revision = var.held_revision == ""

    environment_variables = local.functions_settings

    dynamic "secret_environment_variables" {
      for_each = toset(local.secrets_of[each.value.kind])
      content {
        key        = secret_environment_variables.value
        project_id = var.project
        secret     = google_secret_manager_secret.this[secret_environment_variables.value].secret_id
        version    = google_secret_manager_secret_version.this[secret_environment_variables.value].version
      }
    }
  }

  depends_on = [time_sleep.grants, google_project_iam_member.records]
}
