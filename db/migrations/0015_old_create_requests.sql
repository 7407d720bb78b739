-- compatible
-- What is forgotten each minute is found without reading a whole day's creates. New ones come at the end of the index,
-- which is the cheapest place.
create index create_requests_oldest on create_requests (create_time);
