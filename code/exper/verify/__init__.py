"""What `exper verify` needs: a place to train in, what is compared, and why it may differ."""
