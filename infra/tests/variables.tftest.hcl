# What an operator may say and what is refused with a sentence. Nothing here reaches Google Cloud.

mock_provider "google" {}
mock_provider "time" {}

variables {
  project      = "sample-project"
  phone_number = "+815012345678"
  operators    = ["group:operators@example.com"]
  alert_email  = "ops@example.com"
}

# Terraform reports every variable that is wrong at once, so one run asks for them all.
run "what_cannot_be_meant_is_refused" {
  command = plan
  variables {
    project                 = "My Project"
    phone_number            = "050-1234-5678"
    operators               = ["allUsers"]
    alert_email             = "nobody"
    region                  = "asia"
    name_prefix             = "Callbot!"
    secrets                 = { TWILIO_TOKEN = "x" }
    secret_versions         = { OPENAI_API_KEY = 0 }
    trigger_auth            = "none"
    outbound_regions        = ["Japan"]
    stream_concurrency      = 0
    stream_min_instances    = -1
    stream_cpu              = "0.5"
    stream_memory           = "lots"
    functions_min_instances = 0.5
    log_level               = "verbose"
    settings                = { TWILIO_AUTH_TOKEN = "in a file" }
    repository              = "github.com/me/callbot"
    image                   = "stream:latest"
  }
  expect_failures = [
    var.project, var.phone_number, var.operators, var.alert_email, var.region, var.name_prefix, var.secrets,
    var.secret_versions, var.trigger_auth, var.outbound_regions, var.stream_concurrency, var.stream_min_instances,
    var.stream_cpu, var.stream_memory, var.functions_min_instances, var.log_level, var.settings, var.repository,
    var.image,
  ]
}

run "what_does_not_fit_together_is_refused" {
  command = plan
  variables {
    operators               = []
    outbound_regions        = []
    stream_min_instances    = 3
    stream_max_instances    = 2
    functions_min_instances = 30
    secrets                 = { OPENAI_API_KEY = " " }
    secret_versions         = { OPENAI = 2 }
    held_revision           = "another-service-00001-abc"
    repository              = "projects/sample-project/locations/asia-east1/connections/git/repositories/callbot"
  }
  expect_failures = [
    var.operators, var.outbound_regions, var.stream_max_instances, var.functions_max_instances, var.secrets,
    var.secret_versions, var.held_revision, var.state_bucket,
  ]
}
