"""What people and programs see of the chain: verifying, proof files, public keys, retention."""
