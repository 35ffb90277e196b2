"""Sets the token keeper up in a Google Cloud project with Terraform or OpenTofu, or takes it down again.

    PYTHONPATH=infra:functions python -m gcp.deploy deploy | plan | destroy | attach

It does what Terraform cannot, or should not: checks first whether everything is there, keeps the state in a bucket of
the project, puts values into the secrets without either touching a file, a command line or the state, says on one
screen what will change, sees an interrupted run to its end, tries again where Google needs minutes to learn of what was
just made, explains what Google refuses, and looks up whether both functions run this source.
"""
