"""What every controller needs: clock, ids, keys, workqueue, backoff, lease."""
