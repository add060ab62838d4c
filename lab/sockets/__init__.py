"""How two processes talk at all: eight stations, each really run here and now, one file a station."""
