"""The pages: each view authorises, makes one call, and responds."""
