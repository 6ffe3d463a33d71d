# What Google itself charges for the project. What Twilio, OpenAI and AmiVoice charge, which is nearly all of what a call costs, is
# watched by the spend alert.

resource "google_billing_budget" "month" {
  count           = var.monthly_budget == 0 ? 0 : 1
  billing_account = data.google_project.this.billing_account
  display_name    = "${local.prefix}: a month of ${var.project}"

  # The whole project: not everything that is billed carries the labels of a deployment.
  budget_filter {
    projects = ["projects/${data.google_project.this.number}"]
  }

  # No currency: a budget can only be in that of its billing account.
  amount {
    specified_amount {
      units = tostring(var.monthly_budget)
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }
  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  # Mails go to the operator, and to the billing account's own administrators as Google does by default.
  all_updates_rule {
    monitoring_notification_channels = [google_monitoring_notification_channel.operator_email.id]
  }

  depends_on = [google_project_service.apis]
}
