"""Rules: checks over measurements that yield findings."""
