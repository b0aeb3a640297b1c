"""What a process gives up before it runs what strangers wrote."""
