# What is watched, and how the variables of variables_observability.tf are checked. Nothing here reaches Google Cloud: the provider is a mock.

mock_provider "google" {
  mock_data "google_project" {
    defaults = { number = "123456789012", billing_account = "012345-6789AB-CDEF01" }
  }
  mock_resource "google_service_account" {
    defaults = {
      email  = "someone@sample-project.iam.gserviceaccount.com"
      member = "serviceAccount:someone@sample-project.iam.gserviceaccount.com"
      name   = "projects/sample-project/serviceAccounts/someone@sample-project.iam.gserviceaccount.com"
      id     = "projects/sample-project/serviceAccounts/someone@sample-project.iam.gserviceaccount.com"
    }
  }
  mock_resource "google_monitoring_dashboard" {
    defaults = { id = "projects/123456789012/dashboards/0a1b2c3d" }
  }
}

mock_provider "time" {}

variables {
  project      = "sample-project"
  phone_number = "+815012345678"
  operators    = ["group:operators@example.com"]
  alert_email  = "ops@example.com"
}

run "what_is_watched_as_it_comes" {
  command = plan

  assert {
    condition     = google_monitoring_notification_channel.operator_email.labels["email_address"] == "ops@example.com"
    error_message = "Alerts go to somebody else than alert_email."
  }
  assert {
    condition     = alltrue([for policy in google_monitoring_alert_policy.this : startswith(policy.display_name, "callbot: ")])
    error_message = "An alert does not say of which deployment it is."
  }
  assert {
    condition     = local.price_doubt == ""
    error_message = "The spend is doubted though the models are those of the list."
  }
  assert {
    condition     = length(google_billing_budget.month) == 0
    error_message = "A budget needs rights on the billing account that an operator may not have: only if one is asked for."
  }
  assert {
    condition     = keys(google_monitoring_uptime_check_config.this) == ["functions", "stream"]
    error_message = "Something that callers need is not asked whether it can be reached."
  }
  assert {
    condition     = alltrue([for metric in google_logging_metric.counted : startswith(metric.name, "callbot/")])
    error_message = "A metric has no prefix: two deployments in a project would be counted as one."
  }
}

run "what_an_operator_sets_is_used" {
  command = plan
  variables {
    alert_limits         = { first_words_ms = 1700, spend_per_day = 12, bad_calls_percent = 8, long_silences_percent = 3 }
    prices               = { realtime_audio_out = 64, transcribe_out = 10, say_100_characters = 0 }
    monthly_budget       = 300
    stream_min_instances = 0
    settings             = { OPENAI_REALTIME_MODEL = "another", OPENAI_CHAT_MODEL = "another" }
  }

  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["slow-answers"].conditions[0].condition_prometheus_query_language[0].query, "> 1700 and")
    error_message = "first_words_ms is not what the alert asks for."
  }
  assert {
    condition     = endswith(google_monitoring_alert_policy.this["spend"].conditions[0].condition_prometheus_query_language[0].query, " > 12")
    error_message = "spend_per_day is not what the alert asks for."
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["bad-endings"].conditions[0].condition_prometheus_query_language[0].query, "> 0.08 * ")
    error_message = "bad_calls_percent is not what the alert asks for."
  }
  assert {
    condition     = strcontains(google_monitoring_alert_policy.this["silence"].conditions[0].condition_prometheus_query_language[0].query, "> 0.03 * ")
    error_message = "long_silences_percent is not what the alert asks for."
  }

  assert {
    condition     = strcontains(local.spend, "usage_audio_tokens_out_sum{monitored_resource=\"cloud_run_revision\",engine=\"realtime\"}[WINDOW])) or vector(0)) * 64 / 1000000")
    error_message = "The price that was given is not used."
  }
  assert {
    condition     = local.price_doubt != ""
    error_message = "Another chat model is set without its prices, and nobody is told that the spend is wrong."
  }
  assert {
    condition     = strcontains(local.spend, "usage_transcript_tokens_out_sum")
    error_message = "What costs nothing by the list is left out though it was given a price."
  }
  assert {
    condition     = !strcontains(local.spend, "usage_said_characters_sum") && strcontains(local.spend, "usage_recognition_seconds_sum")
    error_message = "A price of 0 does not leave out what it is of, and nothing else."
  }

  assert {
    condition     = google_billing_budget.month[0].billing_account == "012345-6789AB-CDEF01"
    error_message = "The budget is not the project's billing account's."
  }
  assert {
    condition     = google_billing_budget.month[0].amount[0].specified_amount[0].units == "300"
    error_message = "The budget is another amount."
  }
  assert {
    condition     = toset(google_billing_budget.month[0].budget_filter[0].projects) == toset(["projects/123456789012"])
    error_message = "The budget counts other projects too."
  }

  assert {
    condition     = keys(google_monitoring_uptime_check_config.this) == ["functions"]
    error_message = "The check would keep an instance running all month."
  }
}

run "wrong_values_are_refused" {
  command = plan
  variables {
    monthly_budget = 0.5
    prices         = { realtime_audio_outt = 64 }
    alert_limits   = { first_words_ms = 50 }
  }
  expect_failures = [var.monthly_budget, var.prices, var.alert_limits]
}

run "shares_of_more_than_all_and_prices_below_zero_too" {
  command = plan
  variables {
    prices       = { realtime_audio_out = -1 }
    alert_limits = { bad_calls_percent = 100 }
  }
  expect_failures = [var.prices, var.alert_limits]
}

run "a_day_that_may_cost_nothing_too" {
  command = plan
  variables {
    alert_limits = { spend_per_day = 0 }
  }
  expect_failures = [var.alert_limits]
}
