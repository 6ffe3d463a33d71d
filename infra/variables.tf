# What an operator decides. Thresholds, prices and the budget are in variables_observability.tf, the pipeline's variables in
# variables_delivery.tf.

# -- required ----------------------------------------------------------------------------------------------------------

variable "project" {
  description = "Id of the Google Cloud project that everything is made in. It must exist and have billing."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project is the project's id, such as my-callbot-123456: 6 to 30 small letters, digits and hyphens. It is neither its name nor its number."
  }
}

variable "phone_number" {
  description = "The Twilio number that people ring and that outbound calls come from, in E.164."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^\\+[1-9][0-9]{6,14}$", var.phone_number))
    error_message = "phone_number is written in E.164: a plus, the country code and the number, without spaces or hyphens, such as +815012345678."
  }
}

variable "operators" {
  description = "Who may ask for outbound calls and read the records of calls: people, groups or service accounts."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.operators) > 0
    error_message = "operators names at least one member, such as [\"user:you@example.com\"]."
  }
  validation {
    condition     = alltrue([for member in var.operators : can(regex("^(user|group|serviceAccount):[^@ ]+@[^@ ]+$", member))])
    error_message = "Each of operators begins with user:, group: or serviceAccount: and ends with an address, such as user:you@example.com. Nobody else can be named: allUsers would let anybody on the internet spend your money on calls."
  }
}

variable "alert_email" {
  description = "Where alerts are sent."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alert_email))
    error_message = "alert_email is one e-mail address, such as ops@example.com."
  }
}

# -- where and under which name ----------------------------------------------------------------------------------------

variable "region" {
  description = "Region of everything. Tokyo is the nearest to Japanese callers; the data stays there too."
  type        = string
  nullable    = false
  default     = "asia-northeast1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a Google Cloud region, such as asia-northeast1, not a zone and not a multi-region."
  }
}

variable "name_prefix" {
  description = "What every name begins with. Two deployments in one project need two prefixes. Changing it later makes everything anew, without the records."
  type        = string
  nullable    = false
  default     = "callbot"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,15}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix is 4 to 17 small letters, digits and hyphens, beginning with a letter, such as callbot or callbot-staging: it becomes part of names that Google limits."
  }
}

# -- secrets -----------------------------------------------------------------------------------------------------------

variable "secrets" {
  description = "Values of the secrets by the names of the settings, for an apply that makes new versions of them; give it by ask_secrets.py, never in a file. It is kept nowhere."
  type        = map(string)
  nullable    = false
  default     = {}
  ephemeral   = true
  sensitive   = true

  validation {
    condition = length(setsubtract(keys(var.secrets), [
      "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY", "AMIVOICE_API_KEY", "STREAM_TICKET_SECRET", "TRIGGER_KEYS",
    ])) == 0
    error_message = "secrets may name TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, OPENAI_API_KEY, AMIVOICE_API_KEY, STREAM_TICKET_SECRET and, with trigger_auth = \"key\", TRIGGER_KEYS. Use infra/ask_secrets.py, which knows the names."
  }
  validation {
    condition     = alltrue([for value in values(var.secrets) : trimspace(value) != ""])
    error_message = "A secret is empty. Leave out what you do not want to change, or give its value."
  }
}

variable "secret_versions" {
  description = "To change a secret, raise its number (1 where it is not named), such as { OPENAI_API_KEY = 2 }, and give the value by ask_secrets.py. What reads the secret is replaced by revisions that read the new version."
  type        = map(number)
  nullable    = false
  default     = {}

  validation {
    condition = length(setsubtract(keys(var.secret_versions), [
      "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "OPENAI_API_KEY", "AMIVOICE_API_KEY", "STREAM_TICKET_SECRET", "TRIGGER_KEYS",
    ])) == 0
    error_message = "secret_versions may name TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN, OPENAI_API_KEY, AMIVOICE_API_KEY, STREAM_TICKET_SECRET and TRIGGER_KEYS."
  }
  validation {
    condition     = alltrue([for version in values(var.secret_versions) : version >= 1 && floor(version) == version])
    error_message = "The numbers in secret_versions are whole and begin with 1."
  }
}

# -- who may be rung, and who may ask for it ---------------------------------------------------------------------------

variable "trigger_auth" {
  description = "How outgoing-call and calls know an operator. iam: by a Google identity token of one of `operators`, checked before the code is reached. key: by a bearer key of the secret TRIGGER_KEYS, for callers that have no Google identity; both are then open to the internet and guarded by the key alone."
  type        = string
  nullable    = false
  default     = "iam"

  validation {
    condition     = contains(["iam", "key"], var.trigger_auth)
    error_message = "trigger_auth is iam (Google identities, the safer way) or key (bearer keys)."
  }
}

variable "outbound_regions" {
  description = "Regions whose numbers may be dialled, as ISO 3166 codes. Premium and emergency numbers never are."
  type        = list(string)
  nullable    = false
  default     = ["JP"]

  validation {
    condition     = length(var.outbound_regions) > 0 && alltrue([for code in var.outbound_regions : can(regex("^[A-Z]{2}$", code))])
    error_message = "outbound_regions lists ISO 3166 codes of two capital letters, such as [\"JP\"]."
  }
}

# -- size and cost -----------------------------------------------------------------------------------------------------

variable "stream_concurrency" {
  description = "Calls that one instance of the stream service carries at once. gunicorn gets so many threads and eight more."
  type        = number
  nullable    = false
  default     = 80

  validation {
    condition     = var.stream_concurrency >= 1 && var.stream_concurrency <= 250 && floor(var.stream_concurrency) == var.stream_concurrency
    error_message = "stream_concurrency is a whole number from 1 to 250: more calls than that on one instance have not been tried."
  }
}

variable "stream_min_instances" {
  description = "Instances of the stream service kept ready. 1 costs about 53 US dollars a month and lets the first call after a pause be answered at once; 0 costs nothing while nobody calls, and lets that caller wait some seconds in silence while an instance starts."
  type        = number
  nullable    = false
  default     = 1

  validation {
    condition     = var.stream_min_instances >= 0 && floor(var.stream_min_instances) == var.stream_min_instances
    error_message = "stream_min_instances is a whole number, 0 or more."
  }
}

variable "stream_max_instances" {
  description = "Instances of the stream service at most: times stream_concurrency, that is the number of calls at once, beyond which callers hear an apology. Each costs about 7 US cents an hour from its first call to some minutes after its last."
  type        = number
  nullable    = false
  default     = 5

  validation {
    condition     = var.stream_max_instances >= 1 && floor(var.stream_max_instances) == var.stream_max_instances
    error_message = "stream_max_instances is a whole number, 1 or more."
  }
  validation {
    condition     = var.stream_max_instances >= var.stream_min_instances
    error_message = "stream_max_instances must not be below stream_min_instances."
  }
}

variable "stream_cpu" {
  description = "CPUs of one instance of the stream service. The service moves all audio on one thread, so one is what it can use; two help when the instance is busy with other things too."
  type        = string
  nullable    = false
  default     = "1"

  validation {
    condition     = contains(["1", "2", "4"], var.stream_cpu)
    error_message = "stream_cpu is \"1\", \"2\" or \"4\": Cloud Run allows more than one call at once only from one CPU upwards."
  }
}

variable "stream_memory" {
  description = "Memory of one instance of the stream service, such as 1Gi."
  type        = string
  nullable    = false
  default     = "1Gi"

  validation {
    condition     = can(regex("^(512Mi|1Gi|2Gi|4Gi)$", var.stream_memory))
    error_message = "stream_memory is 512Mi, 1Gi, 2Gi or 4Gi."
  }
}

variable "functions_min_instances" {
  description = "Instances kept ready of each of the three functions that a caller waits for (twiml, incoming-call, call-flow). 1 costs about 30 US dollars a month for the three; 0 costs nothing and lets a caller wait two to four seconds, in mid-call too, when none has been used for a while."
  type        = number
  nullable    = false
  default     = 1

  validation {
    condition     = var.functions_min_instances >= 0 && floor(var.functions_min_instances) == var.functions_min_instances
    error_message = "functions_min_instances is a whole number, 0 or more."
  }
}

variable "functions_max_instances" {
  description = "Instances of each function at most. One takes 40 requests at once; they cost only while they answer."
  type        = number
  nullable    = false
  default     = 20

  validation {
    condition     = var.functions_max_instances >= 1 && floor(var.functions_max_instances) == var.functions_max_instances
    error_message = "functions_max_instances is a whole number, 1 or more."
  }
  validation {
    condition     = var.functions_max_instances >= var.functions_min_instances
    error_message = "functions_max_instances must not be below functions_min_instances."
  }
}

# -- the code's own settings -------------------------------------------------------------------------------------------

variable "log_level" {
  description = "debug, info, warning or error. At debug the words of calls are in the logs: never where real people call."
  type        = string
  nullable    = false
  default     = "info"

  validation {
    condition     = contains(["debug", "info", "warning", "error"], var.log_level)
    error_message = "log_level is debug, info, warning or error."
  }
}

variable "settings" {
  description = "Further settings of the code by their names, such as { OPENAI_REALTIME_MODEL = \"gpt-realtime\" }: models, vendors' addresses, limits on outbound calls. The README's table of settings says what each means."
  type        = map(string)
  nullable    = false
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.settings), flatten(values(local.optional_settings)))) == 0
    error_message = "settings names something that the code does not read or that has a variable of its own: ${join(", ", setsubtract(keys(var.settings), flatten(values(local.optional_settings))))}. It may name ${join(", ", sort(flatten(values(local.optional_settings))))}."
  }
}

# -- data --------------------------------------------------------------------------------------------------------------

variable "protect_data" {
  description = "true: the database of calls cannot be deleted, keeps seven days of history to restore from, and terraform destroy refuses it. false: terraform destroy deletes the calls with everything else. To remove a protected deployment, apply with false first."
  type        = bool
  nullable    = false
  default     = true
}
