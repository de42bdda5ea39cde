variables {
  name = "setpoint-test"
}

run "documents_of_all_files_are_read" {
  command = plan

  variables {
    dags_dir = "./tests/dags/good"
  }

  assert {
    condition     = join(",", keys(output.pools)) == "polars,research-heavy"
    error_message = "A pool outside namespace default is called <namespace>-<name>, and a lambda pool is no service."
  }

  assert {
    condition     = output.pools["polars"].slots == 2 && output.pools["polars"].min_tasks == 0 && output.pools["polars"].max_tasks == 4
    error_message = "What a pool does not say is what crds/pool.py gives it."
  }

  assert {
    condition     = output.pools["polars"].queue == "setpoint-test-polars.fifo" && output.pools["research-heavy"].queue == "setpoint-test-research-heavy.fifo"
    error_message = "Queues are called after the environment and the pool."
  }

  assert {
    condition     = output.pools["research-heavy"].cpu == 4096 && output.pools["research-heavy"].memory == 9216
    error_message = "A size between Fargate's is rounded up."
  }

  assert {
    condition     = join(",", output.pools["research-heavy"].grants.buckets) == "landing"
    error_message = "Grants are handed on."
  }

  assert {
    condition     = output.lambda_pools["lambda"].limit == 20 && output.lambda_pools["lambda"].memory == 2048
    error_message = "The limit of a lambda pool is slots × maxTasks."
  }

  assert {
    condition     = [for s in output.schedules : "${s.dag}/${s.schedule}"] == ["orders/default", "orders/berlin"]
    error_message = "Each schedule of each DAG is found."
  }

  assert {
    condition     = output.webhook_prefixes == tolist(["shop"])
    error_message = "Webhook paths share the route of their first segment."
  }

  assert {
    condition     = length(output.unparsed) == 0
    error_message = "Everything parses."
  }
}

run "a_broken_dag_blocks_nothing" {
  command = plan

  variables {
    dags_dir = "./tests/dags/broken"
  }

  assert {
    condition     = output.unparsed == tolist(["bad.yaml"]) && length(output.schedules) == 1 && length(output.webhook_prefixes) == 0
    error_message = "A file that is no YAML is named, and the others are read."
  }
}

run "a_broken_pool_destroys_nothing" {
  command = plan

  variables {
    dags_dir = "./tests/dags/pools"
  }

  expect_failures = [output.pools]
}

run "pools_that_cannot_be_are_named" {
  command = plan

  variables {
    dags_dir = "./tests/dags/two"
  }

  expect_failures = [output.pools, output.lambda_pools]
}
