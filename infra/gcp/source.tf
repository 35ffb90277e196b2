locals {
  source_dir = "${path.module}/../../functions"
  source_files = sort([
    for file in concat(["main.py", "requirements.txt"], tolist(fileset(local.source_dir, "tokenkeeper/**"))) :
    file if !strcontains(file, "__pycache__")
  ])

  # Of names and contents, not of the archive: what `sha256sum` prints for the sorted files, hashed once more. The guide
  # has the same as a shell command, and `make doctor` in Python.
  source_hash = sha256(join("", [for file in local.source_files : "${filesha256("${local.source_dir}/${file}")}  ${file}\n"]))
}

data "archive_file" "source" {
  type             = "zip"
  output_path      = "${path.module}/.terraform/functions.zip"
  output_file_mode = "0644"

  # A folder with exceptions: with a block for each file, a plan takes four times as long, and the state holds the code.
  source_dir = local.source_dir
  excludes   = setsubtract(fileset(local.source_dir, "**"), local.source_files)
}

# The images that Cloud Functions builds. In its own repository, gcf-artifacts, they would pile up for good.
resource "google_artifact_registry_repository" "images" {
  repository_id = "${var.name}-images"
  location      = var.region
  format        = "DOCKER"
  description   = "Images of the token keeper's functions: the newest two of each."

  cleanup_policies {
    id     = "keep-newest-two"
    action = "KEEP"

    most_recent_versions {
      keep_count = 2
    }
  }
  cleanup_policies {
    id     = "delete-older"
    action = "DELETE"

    condition {
      older_than = "86400s"
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_storage_bucket" "source" {
  name     = "${replace(var.project_id, "/[.:]/", "-")}-${var.name}-source"
  location = var.region

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  # Nothing but the source that is in the repository as well.
  force_destroy = true

  depends_on = [google_project_service.api]
}

resource "google_storage_bucket_object" "source" {
  name   = "functions-${local.source_hash}.zip"
  bucket = google_storage_bucket.source.name
  source = data.archive_file.source.output_path
}
