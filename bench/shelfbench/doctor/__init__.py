"""What this machine has and what would make it faster; what the cache holds, and how it is cleaned."""
