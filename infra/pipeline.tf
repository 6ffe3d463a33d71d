# What delivers: every push to main is tested, built, tried and put in place by cloudbuild.yaml; every pull request is tested
# and planned. Only with a connected repository. What the two may do is in pipeline_access.tf.

locals {
  has_pipeline = var.repository != ""
  state_prefix = var.state_prefix == "" ? local.prefix : var.state_prefix

  # This deployment's variables travel with the trigger, so they are said in one place and are in no repository. The
  # pipeline adds `image` and `held_revision`; secrets it has none to give. A test compares this with the variables.
  tfvars = jsonencode({
    alert_email             = var.alert_email
    alert_limits            = var.alert_limits
    functions_max_instances = var.functions_max_instances
    functions_min_instances = var.functions_min_instances
    log_level               = var.log_level
    monthly_budget          = var.monthly_budget
    name_prefix             = var.name_prefix
    operators               = var.operators
    outbound_regions        = var.outbound_regions
    phone_number            = var.phone_number
    prices                  = var.prices
    project                 = var.project
    protect_data            = var.protect_data
    region                  = var.region
    repository              = var.repository
    secret_versions         = var.secret_versions
    settings                = var.settings
    state_bucket            = var.state_bucket
    state_prefix            = var.state_prefix
    stream_concurrency      = var.stream_concurrency
    stream_cpu              = var.stream_cpu
    stream_max_instances    = var.stream_max_instances
    stream_memory           = var.stream_memory
    stream_min_instances    = var.stream_min_instances
    trigger_auth            = var.trigger_auth
  })

  substitutions = {
    _REGION           = var.region
    _PREFIX           = local.prefix
    _STATE_BUCKET     = var.state_bucket
    _STATE_PREFIX     = local.state_prefix
    _IMAGE_REPOSITORY = local.image_location
    _TFVARS           = local.tfvars
  }

  # A trigger lives in the region of its repository's connection.
  repository_region = local.has_pipeline ? split("/", var.repository)[3] : ""
}

resource "google_cloudbuild_trigger" "deliver" {
  count           = local.has_pipeline ? 1 : 0
  name            = "${local.prefix}-deliver"
  description     = "Tests, builds and delivers every push to main."
  location        = local.repository_region
  service_account = google_service_account.deliver[0].id
  filename        = "cloudbuild.yaml"
  substitutions   = merge(local.substitutions, { _APPLY = "true" })

  repository_event_config {
    repository = var.repository
    push {
      branch = "^main$"
    }
  }

  lifecycle {
    precondition {
      condition     = length(local.tfvars) <= 4000
      error_message = "The variables of this deployment are too long for a Cloud Build substitution (4,000 characters): shorten operators or settings."
    }
  }

  depends_on = [google_project_service.apis]
}

resource "google_cloudbuild_trigger" "review" {
  count           = local.has_pipeline ? 1 : 0
  name            = "${local.prefix}-review"
  description     = "Tests and plans every pull request; applies nothing."
  location        = local.repository_region
  service_account = google_service_account.review[0].id
  filename        = "cloudbuild.yaml"
  substitutions   = merge(local.substitutions, { _APPLY = "false" })

  repository_event_config {
    repository = var.repository
    pull_request {
      branch = "^main$"

      # A stranger's code would run as the account below: somebody of the project says /gcbrun first.
      comment_control = "COMMENTS_ENABLED_FOR_EXTERNAL_CONTRIBUTORS_ONLY"
    }
  }

  depends_on = [google_project_service.apis]
}
