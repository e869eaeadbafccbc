-- What is made of it: the tables that others read.
CREATE DATABASE IF NOT EXISTS {{ prefix() }}spotify
