package serde
