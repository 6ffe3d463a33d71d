# Rules of the deployment that a change must not break unnoticed. Nothing here reaches Google Cloud: the provider is a mock.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012" }
  }
  mock_resource "google_service_account" {
    defaults = {
      email  = "someone@sample-project.iam.gserviceaccount.com"
      member = "serviceAccount:someone@sample-project.iam.gserviceaccount.com"
      name   = "projects/sample-project/serviceAccounts/someone@sample-project.iam.gserviceaccount.com"
      id     = "projects/sample-project/serviceAccounts/someone@sample-project.iam.gserviceaccount.com"
    }
  }
}

mock_provider "time" {}

variables {
  project      = "sample-project"
  phone_number = "+815012345678"
  operators    = ["group:operators@example.com"]
  alert_email  = "ops@example.com"
}

run "a_deployment_as_it_comes" {
  command = plan

  # gunicorn makes STREAM_CONCURRENCY + 8 threads (stream_service/gunicorn_conf.py).
  assert {
    condition = [
      for env in google_cloud_run_v2_service.stream.template[0].containers[0].env : env.value if env.name == "STREAM_CONCURRENCY"
    ] == [tostring(google_cloud_run_v2_service.stream.template[0].max_instance_request_concurrency)]
    error_message = "Cloud Run gives an instance another number of calls than gunicorn has threads for."
  }
  assert {
    condition     = google_cloud_run_v2_service.stream.template[0].timeout == "3600s"
    error_message = "A WebSocket lives as long as the request's timeout."
  }
  assert {
    condition     = google_cloud_run_v2_service.stream.template[0].session_affinity == false
    error_message = "Twilio keeps no cookies."
  }
  assert {
    condition     = google_cloud_run_v2_service.stream.template[0].containers[0].ports[0].name == "http1"
    error_message = "The WebSocket's handshake is HTTP/1."
  }
  assert {
    condition     = google_cloud_run_v2_service.stream.template[0].containers[0].resources[0].cpu_idle == false
    error_message = "What a call leaves to be done needs CPU after its connection has gone."
  }
  assert {
    condition     = google_cloud_run_v2_service.stream.template[0].containers[0].startup_probe[0].http_get[0].path == "/health"
    error_message = "An instance gets calls before it can take them."
  }
  assert {
    condition = (
      length(google_cloud_run_v2_service.stream.traffic) == 1
      && google_cloud_run_v2_service.stream.traffic[0].type == "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"
      && google_cloud_run_v2_service.stream.traffic[0].percent == 100
      && alltrue([for f in google_cloudfunctions2_function.this : f.service_config[0].all_traffic_on_latest_revision])
    )
    error_message = "Something else than the newest revision serves."
  }

  # Who comes in unknown, and who does not (trigger_auth = iam).
  assert {
    condition     = keys(google_cloud_run_v2_service_iam_member.public_function) == ["call-events", "call-flow", "incoming-call", "twiml"]
    error_message = "Other functions are public than Twilio's."
  }
  assert {
    condition = keys(google_cloud_run_v2_service_iam_member.operator) == [
      "calls/group:operators@example.com", "outgoing-call/group:operators@example.com",
    ]
    error_message = "The operators, and they alone, may call outgoing-call and calls."
  }
  assert {
    condition     = alltrue([for f in google_cloudfunctions2_function.this : f.service_config[0].environment_variables["TRIGGER_AUTH"] == "iam"])
    error_message = "The code is not told that IAM lets operators in."
  }
  assert {
    condition     = !contains(keys(google_secret_manager_secret.this), "TRIGGER_KEYS")
    error_message = "There are keys that nobody checks."
  }

  # What is kept, and for how long.
  assert {
    condition = (
      keys(google_firestore_field.expire_at) == ["calls", "limits", "outbound", "turns"]
      && alltrue([for field in google_firestore_field.expire_at : field.field == "expire_at" && length(field.ttl_config) == 1])
    )
    error_message = "A kind of record has no end of life."
  }
  assert {
    condition     = google_firestore_database.calls.delete_protection_state == "DELETE_PROTECTION_ENABLED"
    error_message = "The records of calls could be deleted by mistake."
  }

  assert {
    condition     = length(google_cloudbuild_trigger.deliver) == 0 && length(google_service_account.deliver) == 0
    error_message = "There is a pipeline that nobody asked for."
  }
}

run "a_trial_with_keys_whose_new_revision_is_tried" {
  command = plan
  variables {
    trigger_auth  = "key"
    protect_data  = false
    image         = "asia-northeast1-docker.pkg.dev/sample-project/callbot-images/stream@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    held_revision = "callbot-stream-00007-abc"
  }

  assert {
    condition     = length(google_cloud_run_v2_service_iam_member.public_function) == 6 && length(google_cloud_run_v2_service_iam_member.operator) == 0
    error_message = "A caller with a key has no Google identity."
  }
  assert {
    condition = [for key in keys(google_secret_manager_secret_iam_member.reads) : key if endswith(key, "/TRIGGER_KEYS")] == [
      "reader/TRIGGER_KEYS", "trigger/TRIGGER_KEYS",
    ]
    error_message = "The keys are read by outgoing-call and calls, and by nothing else."
  }
  assert {
    condition     = google_cloudfunctions2_function.this["outgoing-call"].service_config[0].environment_variables["TRIGGER_AUTH"] == "key"
    error_message = "The code is not told that it has to check keys."
  }
  assert {
    condition = jsonencode([for t in google_cloud_run_v2_service.stream.traffic : [t.type, t.revision, t.percent, t.tag]]) == jsonencode([
      ["TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "callbot-stream-00007-abc", 100, null],
      ["TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", null, 0, "candidate"],
    ])
    error_message = "The new revision gets calls before it was tried."
  }
  assert {
    condition     = alltrue([for f in google_cloudfunctions2_function.this : f.service_config[0].all_traffic_on_latest_revision == false])
    error_message = "New functions get calls before they were tried."
  }
  assert {
    condition     = length(google_cloud_run_v2_job.image) == 0 && google_cloud_run_v2_service.stream.template[0].containers[0].image == var.image
    error_message = "The pipeline's image is not the one that is deployed."
  }
  assert {
    condition = (
      google_firestore_database.calls.delete_protection_state == "DELETE_PROTECTION_DISABLED"
      && google_firestore_database.calls.deletion_policy == "DELETE"
      && google_storage_bucket.sources.force_destroy
      && !google_cloud_run_v2_service.stream.deletion_protection
    )
    error_message = "terraform destroy would leave something of a trial behind."
  }
}

run "a_second_deployment_with_a_pipeline" {
  command = plan
  variables {
    name_prefix        = "second"
    stream_concurrency = 33
    repository         = "projects/sample-project/locations/asia-east1/connections/git/repositories/callbot"
    state_bucket       = "sample-state"
    settings           = { OPENAI_REALTIME_MODEL = "another-model" }
  }

  assert {
    condition = alltrue([for name in concat(
      [for f in google_cloudfunctions2_function.this : f.name],
      [for s in google_secret_manager_secret.this : s.secret_id],
      [
        google_artifact_registry_repository.images.repository_id, google_cloud_run_v2_service.stream.name,
        google_cloudbuild_trigger.deliver[0].name, google_cloudbuild_trigger.review[0].name,
        google_firestore_database.calls.name, google_project_iam_custom_role.measures[0].role_id,
        google_project_iam_custom_role.plans[0].role_id, google_service_account.builder.account_id,
        google_service_account.deliver[0].account_id, google_service_account.functions.account_id,
        google_service_account.reader.account_id, google_service_account.review[0].account_id,
        google_service_account.starter.account_id, google_service_account.stream.account_id,
        google_service_account.trigger.account_id, trimprefix(google_storage_bucket.sources.name, "sample-project-"),
      ],
    ) : startswith(name, "second")])
    error_message = "Two deployments in one project would use the same name."
  }
  assert {
    condition = (
      output.functions_url == "https://asia-northeast1-sample-project.cloudfunctions.net/second-{function}"
      && output.stream_url == "wss://second-stream-123456789012.asia-northeast1.run.app/ws"
    )
    error_message = "The addresses are another deployment's."
  }
  assert {
    condition = (
      google_cloud_run_v2_service.stream.template[0].max_instance_request_concurrency == 33
      && contains([for env in google_cloud_run_v2_service.stream.template[0].containers[0].env : env.value], "33")
    )
    error_message = "stream_concurrency is not what Cloud Run and gunicorn are both told."
  }
  assert {
    condition = (
      google_cloudbuild_trigger.deliver[0].substitutions["_APPLY"] == "true"
      && google_cloudbuild_trigger.deliver[0].repository_event_config[0].push[0].branch == "^main$"
      && google_cloudbuild_trigger.deliver[0].location == "asia-east1"
    )
    error_message = "A push to main is not delivered, or another branch is, or the trigger is not where the connection is."
  }
  assert {
    condition = (
      google_cloudbuild_trigger.review[0].substitutions["_APPLY"] == "false"
      && google_cloudbuild_trigger.review[0].repository_event_config[0].pull_request[0].comment_control == "COMMENTS_ENABLED_FOR_EXTERNAL_CONTRIBUTORS_ONLY"
    )
    error_message = "A pull request is applied, or a stranger's is built without being asked for."
  }
  assert {
    condition = (
      jsondecode(google_cloudbuild_trigger.deliver[0].substitutions["_TFVARS"])["settings"]["OPENAI_REALTIME_MODEL"] == "another-model"
      && !can(jsondecode(google_cloudbuild_trigger.deliver[0].substitutions["_TFVARS"])["secrets"])
    )
    error_message = "The pipeline does not apply this deployment's variables, or carries secrets."
  }
}
