# Who may do what. Grants are on the single resource wherever Google Cloud has them there; the few that only a project
# can give carry a condition that names the resource. The pipeline's are in pipeline.tf.

# -- secrets: each kind of work reads its own ones ---------------------------------------------------------------------

resource "google_secret_manager_secret_iam_member" "reads" {
  for_each = merge([
    for kind, names in local.secrets_of : { for name in names : "${kind}/${name}" => { kind = kind, name = name } }
  ]...)
  secret_id = google_secret_manager_secret.this[each.value.name].id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.runtime_accounts[each.value.kind].member
}

# -- records of calls: this deployment's database only -----------------------------------------------------------------

resource "google_project_iam_member" "records" {
  for_each = {
    functions = "roles/datastore.user"
    trigger   = "roles/datastore.user"
    reader    = "roles/datastore.viewer"
    stream    = "roles/datastore.user"
  }
  project = var.project
  role    = each.value
  member  = local.runtime_accounts[each.key].member

  condition {
    title       = "${local.prefix} database"
    description = "Firestore has no grants on a database; a condition on the project's does it."
    expression  = "resource.name == \"projects/${var.project}/databases/${google_firestore_database.calls.name}\""
  }
}

# -- builds of images --------------------------------------------------------------------------------------------------

resource "google_artifact_registry_repository_iam_member" "builder_writes" {
  repository = google_artifact_registry_repository.images.name
  location   = google_artifact_registry_repository.images.location
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

resource "google_storage_bucket_iam_member" "builder_reads" {
  bucket = google_storage_bucket.sources.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.builder.member
}

# Cloud Functions copies a function's source into a bucket of its own, which is made with the region's first function, and
# builds from there (Cloud Run functions: custom service account for Cloud Build).
resource "google_project_iam_member" "builder_reads_copies" {
  project = var.project
  role    = "roles/storage.objectViewer"
  member  = google_service_account.builder.member

  condition {
    title       = "${local.prefix} function sources"
    description = "Only the bucket that Cloud Functions builds this region's functions from."
    expression  = "resource.type == \"storage.googleapis.com/Object\" && resource.name.startsWith(\"projects/_/buckets/gcf-v2-sources-${data.google_project.this.number}-${var.region}/\")"
  }
}

resource "google_project_iam_member" "builder_logs" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder.member
}

# -- who may call in ---------------------------------------------------------------------------------------------------

# A function's own invoker role does not count in the second generation: the grant is on the Cloud Run service of the same
# name. Those that are open check Twilio's signature, or a key, before anything else.
resource "google_cloud_run_v2_service_iam_member" "public_function" {
  for_each = toset([for name, function in local.functions : name if function.public])
  name     = google_cloudfunctions2_function.this[each.value].name
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}

# Twilio opens the WebSocket; its handshake is checked for Twilio's signature, and the stream for its ticket.
resource "google_cloud_run_v2_service_iam_member" "public_stream" {
  name     = google_cloud_run_v2_service.stream.name
  location = google_cloud_run_v2_service.stream.location
  role     = "roles/run.invoker"
  member   = "allUsers"
}

resource "google_cloud_run_v2_service_iam_member" "operator" {
  for_each = merge([
    for name, function in local.functions : {
      for member in var.operators : "${name}/${member}" => { name = name, member = member }
    } if !function.public
  ]...)
  name     = google_cloudfunctions2_function.this[each.value.name].name
  location = var.region
  role     = "roles/run.invoker"
  member   = each.value.member
}

# -- until grants are in force -----------------------------------------------------------------------------------------

# A grant is in force a while after it was given: usually within a minute (IAM: access change propagation). A build or a
# revision that starts earlier fails for good, so the first ones wait.
resource "time_sleep" "grants" {
  create_duration = "60s"

  triggers = {
    reads = join(",", sort(keys(google_secret_manager_secret_iam_member.reads)))
  }

  depends_on = [
    google_secret_manager_secret_iam_member.reads,
    google_artifact_registry_repository_iam_member.builder_writes,
    google_storage_bucket_iam_member.builder_reads,
    google_project_iam_member.builder_reads_copies,
    google_project_iam_member.builder_logs,
    google_project_iam_member.starter,
    google_service_account_iam_member.starter,
  ]
}
