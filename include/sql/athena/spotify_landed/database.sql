-- What harvests landed, as it is.
CREATE DATABASE IF NOT EXISTS spotify_landed
