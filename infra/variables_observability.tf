# What an operator decides about prices, limits of alerts and the budget.

variable "monthly_budget" {
  description = "What this project may cost at Google in a month, in the currency of its billing account; mails are sent at 50, 90 and 100 percent, and when more than 100 is to be expected. It stops nothing. 0: no budget. Needs roles/billing.costsManager on the billing account for whoever applies this."
  type        = number
  nullable    = false
  default     = 0

  validation {
    condition     = var.monthly_budget >= 0 && floor(var.monthly_budget) == var.monthly_budget
    error_message = "monthly_budget is a whole number of the billing account's currency, or 0 for no budget."
  }
}

variable "prices" {
  description = "What you pay Twilio, OpenAI and AmiVoice, in US dollars, where it differs from the list in prices.tf: say so when you use another model or have a contract. Example: { realtime_audio_out = 64 }."
  type        = map(number)
  nullable    = false
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.prices), keys(local.price_list))) == 0
    error_message = "prices names something that prices.tf does not: ${join(", ", setsubtract(keys(var.prices), keys(local.price_list)))}. It may name ${join(", ", sort(keys(local.price_list)))}."
  }
  validation {
    condition     = alltrue([for price in values(var.prices) : price >= 0])
    error_message = "A price in prices is below zero."
  }
}

variable "alert_limits" {
  description = "Where alerts begin. first_words_ms: 95 of 100 answers must begin sooner than this after the caller's last word. spend_per_day: US dollars at Twilio, OpenAI and AmiVoice within 24 hours. bad_calls_percent and long_silences_percent: of all calls and of all answers."
  type = object({
    first_words_ms        = optional(number, 2500)
    spend_per_day         = optional(number, 50)
    bad_calls_percent     = optional(number, 5)
    long_silences_percent = optional(number, 1)
  })
  nullable = false
  default  = {}

  validation {
    condition     = var.alert_limits.first_words_ms >= 500 && var.alert_limits.first_words_ms <= 10000
    error_message = "alert_limits.first_words_ms is between 500 and 10000 milliseconds."
  }
  validation {
    condition     = var.alert_limits.spend_per_day > 0
    error_message = "alert_limits.spend_per_day is an amount of US dollars above zero."
  }
  validation {
    condition = alltrue([
      for percent in [var.alert_limits.bad_calls_percent, var.alert_limits.long_silences_percent] : percent > 0 && percent < 100
    ])
    error_message = "alert_limits.bad_calls_percent and alert_limits.long_silences_percent are above 0 and below 100."
  }
}
