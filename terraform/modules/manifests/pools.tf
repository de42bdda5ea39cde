locals {
  # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size (MiB)
  fargate_sizes = flatten([
    for size in [
      { cpu = 256, memory = [512, 1024, 2048] },
      { cpu = 512, memory = range(1024, 4097, 1024) },
      { cpu = 1024, memory = range(2048, 8193, 1024) },
      { cpu = 2048, memory = range(4096, 16385, 1024) },
      { cpu = 4096, memory = range(8192, 30721, 1024) },
      { cpu = 8192, memory = range(16384, 61441, 4096) },
      { cpu = 16384, memory = range(32768, 122881, 8192) },
    ] : [for memory in size.memory : { cpu = size.cpu, memory = memory }]
  ])

  units = { Ki = 1024, Mi = 1048576, Gi = 1073741824 }

  # Defaults are those of crds/pool.py.
  wanted = [
    for r in local.resources : {
      file          = r.file
      name          = tostring(r.body.metadata.name)
      namespace     = tostring(try(r.body.metadata.namespace, "default"))
      runtime       = tostring(r.body.spec.runtime)
      slots         = tonumber(try(r.body.spec.slots, 2))
      min_tasks     = tonumber(try(r.body.spec.minTasks, 0))
      max_tasks     = tonumber(try(r.body.spec.maxTasks, 4))
      spot_percent  = tonumber(try(r.body.spec.spotPercent, 0))
      cpu           = tonumber(try(r.body.spec.cpu, 1024))
      memory        = tostring(try(r.body.spec.memory, "2Gi"))
      queue         = try(tostring(r.body.spec.queue), null)
      image         = try(tostring(r.body.spec.image), null)
      function      = try(tostring(r.body.spec.function), null)
      secrets       = try([for s in r.body.spec.grants.secrets : tostring(s)], [])
      cold_datasets = try([for s in r.body.spec.grants.coldDatasets : tostring(s)], [])
      buckets       = try([for s in r.body.spec.grants.buckets : tostring(s)], [])
    } if r.body.kind == "WorkerPool"
  ]

  keyed = [
    for p in local.wanted : merge(p, {
      # The name of a pool's service, and what its queue's name ends with.
      key = p.namespace == "default" ? p.name : "${p.namespace}-${p.name}"
      mebibytes = ceil(
        tonumber(regex("^[0-9]+", p.memory)) * lookup(local.units, try(regex("[A-Z]i$", p.memory), ""), 1) / local.units.Mi
      )
    })
  ]

  # Sizes between Fargate's are rounded up, so a pool never gets less than it asks for.
  pools = [
    for p in local.keyed : {
      key           = p.key
      file          = p.file
      name          = p.name
      namespace     = p.namespace
      runtime       = p.runtime
      slots         = p.slots
      min_tasks     = p.min_tasks
      max_tasks     = p.max_tasks
      spot_percent  = p.spot_percent
      memory_wanted = p.mebibytes
      size = try([
        for size in local.fargate_sizes : size if size.cpu >= p.cpu && size.memory >= p.mebibytes
      ][0], { cpu = 0, memory = 0 })
      queue    = p.queue == null ? "${var.name}-${p.key}.fifo" : p.queue
      image    = p.image
      function = p.function
      grants = {
        secrets       = p.secrets
        cold_datasets = p.cold_datasets
        buckets       = p.buckets
      }
    }
  ]

  by_key = { for key in distinct(local.pools[*].key) : key => [for p in local.pools : p if p.key == key][0] }

  repeated    = distinct([for key in local.pools[*].key : key if length([for k in local.pools[*].key : k if k == key]) > 1])
  oversized   = [for p in local.pools : p.key if p.size.cpu == 0 && p.runtime != "lambda"]
  unnamed     = [for p in local.pools : p.key if p.runtime == "lambda" && p.function == null]
  broken_pool = [for d in local.documents : d.file if contains(local.broken, d.file) && length(regexall("(?m)^kind:\\s*WorkerPool", d.text)) > 0]
}
