-- What harvests landed, as it is.
CREATE DATABASE IF NOT EXISTS {{ prefix() }}spotify_landed
