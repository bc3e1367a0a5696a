"""What several tests share, a module a subject. Child processes load it: it imports nothing."""
