# What an operator needs next. Addresses, names and commands; no secret.

locals {
  trigger_uri = google_cloudfunctions2_function.this["outgoing-call"].service_config[0].uri
  calls_uri   = google_cloudfunctions2_function.this["calls"].service_config[0].uri
  bearer      = var.trigger_auth == "iam" ? "$(gcloud auth print-identity-token)" : "$TRIGGER_KEY"
}

output "next_command" {
  description = "Points the Twilio number at this deployment. Needs TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN in the environment or in .env; --engine amivoice for the other engine."
  value       = "FUNCTIONS_URL='${local.functions_url}' callbot number set ${var.phone_number} --engine realtime"
}

output "twilio_webhooks" {
  description = "The addresses that `next_command` gives the Twilio number: the voice URL is one of the first two."
  value = {
    voice_url_realtime = google_cloudfunctions2_function.this["incoming-call"].url
    voice_url_amivoice = google_cloudfunctions2_function.this["twiml"].url
    status_callback    = google_cloudfunctions2_function.this["call-events"].url
  }
}

output "trigger" {
  description = "Where outbound calls are asked for, and how: replace the number by one that may be rung. With trigger_auth = iam, a service account's token is made for this address: gcloud auth print-identity-token --audiences=URL."
  value = {
    url  = local.trigger_uri
    curl = "curl -X POST '${local.trigger_uri}' -H \"Authorization: Bearer ${local.bearer}\" -H 'Content-Type: application/json' -d '{\"phoneNumber\": \"+819012345678\"}'"
  }
}

output "calls" {
  description = "Where the records of calls are read, and how."
  value = {
    url  = local.calls_uri
    curl = "curl '${local.calls_uri}' -H \"Authorization: Bearer ${local.bearer}\""
  }
}

output "functions_url" {
  description = "Setting FUNCTIONS_URL of this deployment; {function} stands for a function's name."
  value       = local.functions_url
}

output "stream_url" {
  description = "Setting STREAM_URL of this deployment."
  value       = local.stream_url
}

output "stream_service" {
  description = "The Cloud Run service that carries the calls."
  value       = google_cloud_run_v2_service.stream.name
}

output "image" {
  description = "The stream service's image. With a pipeline, an apply by hand keeps it by -var image=\"$(terraform output -raw image)\"."
  value       = local.image
}

output "dashboard" {
  description = "The page to keep open."
  value       = local.dashboard_url
}
