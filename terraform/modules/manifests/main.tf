# Reads the resources in git. It creates nothing: its outputs are what other modules make of them.

locals {
  # A document begins behind a line `---`. The separator that replaces it is a control character that YAML forbids.
  documents = flatten([
    for file in sort(fileset(var.dags_dir, "**/*.yaml")) : [
      for index, text in split("\u001e", replace(
        replace(file("${var.dags_dir}/${file}"), "\r\n", "\n"), "/(?m)^---([ \\t].*)?$/", "\u001e"
        )) : {
        file  = file
        index = index
        text  = text
      } if length(regexall("(?m)^[^#\\s]", text)) > 0
    ]
  ])

  broken = distinct([for d in local.documents : d.file if !can(yamldecode(d.text).kind)])

  # One broken document makes its whole file suspect, so nothing of it is taken.
  resources = [for d in local.documents : merge(d, { body = yamldecode(d.text) }) if !contains(local.broken, d.file)]

  # What `setpoint apply` would refuse is left out, and never stops a plan.
  dags = [for r in local.resources : r.body if try(r.body.kind == "Dag", false) && can(tostring(r.body.metadata.name))]

  schedules = flatten([
    for dag in local.dags : [
      for schedule in try(tolist([for s in dag.spec.schedules : {
        name     = tostring(try(s.name, "default"))
        cron     = tostring(s.cron)
        timezone = tostring(try(s.timezone, "UTC"))
        }]), []) : {
        namespace = try(tostring(dag.metadata.namespace), "default")
        dag       = tostring(dag.metadata.name)
        schedule  = schedule.name
        cron      = schedule.cron
        timezone  = schedule.timezone
      }
    ]
  ])

  webhook_prefixes = flatten([
    for dag in local.dags : [
      for trigger in try(tolist([for t in dag.spec.triggers : try(tostring(t.webhook.path), "")]), []) :
      regexall("^/?([A-Za-z0-9][A-Za-z0-9_-]{0,63})(?:/|$)", trigger)
    ]
  ])
}
