# The secrets: their names, their versions, never their values. The values come with the first apply, by TF_VAR_secrets in
# the environment of that one command (ask_secrets.py), and go to Secret Manager through a write-only argument: they
# are in no state, plan, variable file or log.

locals {
  # Which of the code's secrets each kind of work reads (callbot.settings.SETTINGS, used_by).
  secrets_of = {
    functions = ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "STREAM_TICKET_SECRET"]
    trigger   = concat(["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "STREAM_TICKET_SECRET"], local.trigger_keys)
    reader    = concat(["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "STREAM_TICKET_SECRET"], local.trigger_keys)
    stream = [
      "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "STREAM_TICKET_SECRET", "OPENAI_API_KEY", "AMIVOICE_API_KEY",
    ]
  }
  trigger_keys = var.trigger_auth == "key" ? ["TRIGGER_KEYS"] : []
  secret_names = toset(flatten(values(local.secrets_of)))
}

resource "google_secret_manager_secret" "this" {
  for_each  = local.secret_names
  secret_id = "${local.prefix}-${lower(replace(each.value, "_", "-"))}"

  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_secret_manager_secret_version" "this" {
  for_each = local.secret_names
  secret   = google_secret_manager_secret.this[each.value].id

  # Sent when a version is made and at no other time, so an apply that makes none needs no values. One that would make a
  # version without a value sends this sentence, which is not base64: Secret Manager refuses it and shows it.
  secret_data_wo = (
    contains(keys(var.secrets), each.value)
    ? base64encode(var.secrets[each.value])
    : "no value was given for ${each.value}: see 'Secrets' in infra/README.md"
  )
  secret_data_wo_version = lookup(var.secret_versions, each.value, 1)
  is_secret_data_base64  = true

  # After a rotation, instances that run keep what they read, and new ones read the new version. The old one is switched
  # off, not destroyed: rolling back to before the rotation is `gcloud secrets versions enable` away.
  deletion_policy = "DISABLE"

  lifecycle {
    create_before_destroy = true
  }
}
