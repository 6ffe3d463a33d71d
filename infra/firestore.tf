# Where calls are kept: one database for each deployment, so that two in one project never mix.

resource "google_firestore_database" "calls" {
  name        = local.prefix
  location_id = var.region
  type        = "FIRESTORE_NATIVE"

  # A move of a record is: read, decide, write if nobody has written in between. No locks are held meanwhile.
  concurrency_mode            = "OPTIMISTIC"
  app_engine_integration_mode = "DISABLED"

  # Protected, the database refuses to be deleted, and `terraform destroy` ends with that refusal. The provider's own
  # default (ABANDON) would leave the database behind, unknown to any state and in the way of the next one (409).
  delete_protection_state = var.protect_data ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  deletion_policy         = "DELETE"

  # Seven days in which a mistake can be undone; without it, one hour.
  point_in_time_recovery_enablement = var.protect_data ? "POINT_IN_TIME_RECOVERY_ENABLED" : "POINT_IN_TIME_RECOVERY_DISABLED"

  depends_on = [google_project_service.apis]
}

# Records delete themselves within a day after `expire_at`, which the code sets, and are hidden from that moment. A call's
# turns are not deleted with the call (Firestore: subcollections stay), so each kind has its own policy.
resource "google_firestore_field" "expire_at" {
  for_each   = toset(["calls", "turns", "outbound", "limits"])
  database   = google_firestore_database.calls.name
  collection = each.value
  field      = "expire_at"

  ttl_config {}

  # No index: nothing is searched by this field, and the index of a field that only grows limits how fast documents
  # may be created (Firestore: best practices, hotspots).
  index_config {}
}

# No composite index: the list of calls is ordered by one field (`created_at`), turns by their names, and every other
# read is of a document by its name. Firestore indexes single fields by itself.
