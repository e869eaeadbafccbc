"""The fake APIs: every API Windrow reads, served by its real contract, with faults on a switch."""
