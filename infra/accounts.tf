# Who the parts are: one service account for each kind of work, so that each can be given its own work's permissions and
# nothing else. What they may do is in iam.tf; those of the pipeline are in pipeline.tf.

resource "google_service_account" "functions" {
  account_id   = "${local.prefix}-functions"
  display_name = "${local.prefix}: answers Twilio's webhooks"
  depends_on   = [google_project_service.apis]
}

resource "google_service_account" "trigger" {
  account_id   = "${local.prefix}-trigger"
  display_name = "${local.prefix}: places outbound calls"
  depends_on   = [google_project_service.apis]
}

resource "google_service_account" "reader" {
  account_id   = "${local.prefix}-reader"
  display_name = "${local.prefix}: shows the records of calls"
  depends_on   = [google_project_service.apis]
}

resource "google_service_account" "stream" {
  account_id   = "${local.prefix}-stream"
  display_name = "${local.prefix}: carries the audio of calls"
  depends_on   = [google_project_service.apis]
}

# Code of other people runs in builds (what pip installs), so this account can write images and reach nothing else.
resource "google_service_account" "builder" {
  account_id   = "${local.prefix}-builder"
  display_name = "${local.prefix}: builds images"
  depends_on   = [google_project_service.apis]
}

locals {
  # The accounts that the deployed parts run as, by kind of work.
  runtime_accounts = {
    functions = google_service_account.functions
    trigger   = google_service_account.trigger
    reader    = google_service_account.reader
    stream    = google_service_account.stream
  }
}
