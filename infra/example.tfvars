# An example for trying out. Copy it, outside the repository or as NAME.tfvars (which git ignores), and say what is yours.
# Every other variable has a default: see variables.tf and README.md.

project      = "my-callbot-123456"
phone_number = "+815012345678"
operators    = ["user:you@example.com"]
alert_email  = "you@example.com"

# Calls of a trial need not outlive it: terraform destroy then removes everything. Leave this out where real people call.
protect_data = false
