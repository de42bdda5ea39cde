"""A local ECS: tasks are processes of this machine, services keep their count."""
