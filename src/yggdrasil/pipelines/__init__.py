"""What people call: pipelines that generate and pipelines that train."""
