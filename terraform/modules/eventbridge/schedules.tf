# Cron lines as EventBridge says them. Every value is written out (*/15 becomes 0,15,30,45), because cron and EventBridge
# agree about lists of numbers and about little else. What cannot be said so is left to the platform tick, which looks at
# all schedules every minute anyway.

module "manifests" {
  source = "../manifests"

  name     = var.name
  dags_dir = var.dags_dir
}

locals {
  shortcuts = {
    "@hourly"   = "0 * * * *"
    "@daily"    = "0 0 * * *"
    "@midnight" = "0 0 * * *"
    "@weekly"   = "0 0 * * 0"
    "@monthly"  = "0 0 1 * *"
    "@yearly"   = "0 0 1 1 *"
    "@annually" = "0 0 1 1 *"
  }

  # Rules are in UTC, and a rule that followed another zone's clock changes would not exist.
  utc = ["UTC", "Etc/UTC", "Etc/UCT", "Etc/Zulu", "Universal", "Zulu"]

  fields = ["minute", "hour", "day", "month", "weekday"]
  least  = { minute = 0, hour = 0, day = 1, month = 1, weekday = 0 }
  most   = { minute = 59, hour = 23, day = 31, month = 12, weekday = 7 }

  months   = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
  weekdays = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
  numbers = {
    minute  = {}
    hour    = {}
    day     = {}
    month   = { for index, month in local.months : month => index + 1 }
    weekday = { for index, weekday in local.weekdays : weekday => index }
  }

  # Of two schedules of one name the dispatcher refuses one; here the first stands for both.
  schedules = {
    for key, all in { for s in module.manifests.schedules : "${s.namespace}/${s.dag}/${s.schedule}" => s... } : key => all[0]
  }

  lines = {
    for key, s in local.schedules : key => regexall("\\S+", upper(lookup(local.shortcuts, lower(trimspace(s.cron)), s.cron)))
  }

  # The parts between commas: `*` or a value or a range, and a step. Unmatched groups are null.
  tokens = {
    for key, line in local.lines : key => length(line) != length(local.fields) ? null : {
      for index, field in local.fields : field => [
        for part in split(",", line[index]) :
        try(regex("^(?:([*])|([A-Z0-9]{1,3})(?:-([A-Z0-9]{1,3}))?)(?:/([0-9]{1,2}))?$", part), null)
      ]
    }
  }

  # First value, last value and step of each part; step 0 says that it is none that both understand.
  spans = {
    for key, fields in local.tokens : key => fields == null ? null : {
      for field, parts in fields : field => [
        for t in parts : try(
          {
            from = t[0] == "*" ? local.least[field] : tonumber(lookup(local.numbers[field], t[1], t[1]))
            to   = t[0] == "*" ? local.most[field] : tonumber(lookup(local.numbers[field], coalesce(t[2], t[1]), coalesce(t[2], t[1])))
            # What `5/15` means differs between crons.
            step = t[3] == null ? 1 : t[0] == null && t[2] == null ? 0 : tonumber(t[3])
          },
          { from = 0, to = 0, step = 0 },
        )
      ]
    }
  }

  # All values of each field, in order; null for a line that has a part that is not understood.
  values = {
    for key, fields in local.spans : key => fields == null ? null : alltrue(flatten([
      for field, parts in fields : [
        for p in parts : p.step >= 1 && p.from >= local.least[field] && p.to <= local.most[field] && p.from <= p.to
      ]
      ])) ? {
      for field, parts in fields : field => [
        for value in range(local.least[field], local.most[field] + 1) : value
        if anytrue([for p in parts : value >= p.from && value <= p.to && (value - p.from) % p.step == 0])
      ]
    } : null
  }

  # All values of a field are `*`; of the two day fields EventBridge wants one to be `?`.
  said = {
    for key, values in local.values : key => values == null ? null : {
      minute  = length(values.minute) == 60 ? "*" : join(",", values.minute)
      hour    = length(values.hour) == 24 ? "*" : join(",", values.hour)
      day     = length(values.day) == 31 ? "*" : join(",", values.day)
      month   = length(values.month) == 12 ? "*" : join(",", values.month)
      weekday = length(values.weekday) == 8 ? "*" : join(",", distinct([for value in values.weekday : local.weekdays[value % 7]]))
    }
  }

  expressions = {
    for key, s in local.said : key => s == null ? null : (
      "cron(${s.minute} ${s.hour} ${s.weekday == "*" ? s.day : "?"} ${s.month} ${s.weekday == "*" ? "?" : s.weekday} *)"
    )
  }

  # With both day fields given (1-31 is given, too) cron takes either day, which one rule cannot say. A day that some months
  # lack may, with the months given, never come: EventBridge refuses such a rule. An expression has at most 256 characters.
  sayable = {
    for key, s in local.schedules : key => local.expressions[key]
    if contains(local.utc, s.timezone) && local.expressions[key] != null && try(
      (startswith(local.lines[key][2], "*") || startswith(local.lines[key][4], "*")) &&
      (local.said[key].day == "*" || local.said[key].weekday == "*") &&
      (local.said[key].month == "*" || max(concat([1], local.values[key].day)...) <= 28 || local.said[key].day == "*") &&
      length(local.expressions[key]) <= 256,
      false
    )
  }

  ruled  = slice(sort(keys(local.sayable)), 0, min(length(local.sayable), var.max_rules))
  ticked = [for key in sort(keys(local.schedules)) : key if !contains(local.ruled, key)]
}
