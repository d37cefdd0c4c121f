"""`pixelis-tiny`: a Qwen3-VL of a few million parameters, trained here, that runs on a laptop."""
