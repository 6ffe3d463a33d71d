# What is deployed from this checkout: two zips in a bucket, named by their content, so that a change of the code is a
# change of the plan and nothing else is.
#
# They are made of the files' contents only, chosen by what belongs in: a stray file, a compiled one or a file's mode on
# this machine changes nothing.

locals {
  root = "${path.module}/.."

  functions_files = fileset("${local.root}/functions", "**/*.{py,toml,html,txt}")
  image_files = setunion(
    fileset(local.root, "stream_service/Dockerfile"),
    fileset(local.root, "stream_service/**/*.{py,txt,c,h}"),
    fileset(local.root, "functions/callbot/**/*.{py,toml,html}"),
  )
}

resource "google_storage_bucket" "sources" {
  name                        = "${var.project}-${local.prefix}-sources"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # All of it can be made again from the repository, at any commit: nothing to protect, nothing to pay for afterwards.
  force_destroy = true
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  depends_on = [google_project_service.apis]
}

data "archive_file" "functions" {
  type        = "zip"
  output_path = "${path.module}/.build/functions.zip"

  dynamic "source" {
    for_each = local.functions_files
    content {
      filename = source.value
      content  = file("${local.root}/functions/${source.value}")
    }
  }
}

resource "google_storage_bucket_object" "functions" {
  name   = "functions-${substr(data.archive_file.functions.output_sha256, 0, 16)}.zip"
  bucket = google_storage_bucket.sources.name
  source = data.archive_file.functions.output_path

  lifecycle {
    create_before_destroy = true # the old one goes when the functions are built from the new one
  }
}

data "archive_file" "image" {
  type        = "zip"
  output_path = "${path.module}/.build/image.zip"

  dynamic "source" {
    for_each = local.image_files
    content {
      filename = source.value
      content  = file("${local.root}/${source.value}")
    }
  }
}
