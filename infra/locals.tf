# Names and addresses that more than one file uses, and which setting goes to which part.

# Cloud Run's deterministic addresses are made of the project's number, and a budget is of its billing account. Read before
# anything is made, so the two APIs that tell them are switched on by hand: README.md, the first step.
data "google_project" "this" {}

locals {
  prefix = var.name_prefix
  labels = {
    app        = "callbot"
    deployment = local.prefix
  }

  # Both addresses are computed and not read from what is deployed: each part has to know its own, and the other's,
  # before either is there. Signatures are checked against them.
  functions_url = "https://${var.region}-${var.project}.cloudfunctions.net/${local.prefix}-{function}"
  stream_name   = "${local.prefix}-stream"
  stream_host   = "${local.stream_name}-${data.google_project.this.number}.${var.region}.run.app"
  stream_url    = "wss://${local.stream_host}/ws"

  # Settings of the code that every deployed part reads.
  common_settings = {
    CALL_STORE    = "firestore:${var.project}/${google_firestore_database.calls.name}"
    FUNCTIONS_URL = local.functions_url
    LOG_LEVEL     = var.log_level
    STREAM_URL    = local.stream_url
  }

  # What `settings` may name, and who reads it: callbot.settings.SETTINGS, without what has a variable of its own and
  # without the secrets. A test compares the two.
  optional_settings = {
    functions = ["OUTBOUND_PER_MINUTE", "OUTBOUND_PER_DAY", "OUTBOUND_PER_NUMBER_PER_DAY", "CALLBACK_HOSTS"]
    stream = [
      "OPENAI_BASE_URL", "OPENAI_REALTIME_URL", "OPENAI_CHAT_MODEL", "OPENAI_CHAT_EFFORT", "OPENAI_REALTIME_MODEL",
      "OPENAI_TRANSCRIBE_MODEL", "AMIVOICE_URL", "AMIVOICE_GRAMMAR",
    ]
    both = ["TWILIO_API_URL", "AGENTS_FILE"]
  }
  given_to = {
    for part in ["functions", "stream"] : part => {
      for name, value in var.settings : name => value
      if contains(concat(local.optional_settings[part], local.optional_settings.both), name)
    }
  }
}
