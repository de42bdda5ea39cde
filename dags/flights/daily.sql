-- One row a day, airport and airline. Sums beside means, so that readers can aggregate further.
SELECT
    month,
    date,
    origin,
    carrier,
    airline,
    COUNT(*) AS flights,
    COUNT(dep_delay) AS departed,
    SUM(CASE WHEN late THEN 1 ELSE 0 END) AS late,
    COALESCE(SUM(dep_delay), 0) AS delay_minutes,
    AVG(dep_delay) AS mean_delay
FROM flights
GROUP BY month, date, origin, carrier, airline
ORDER BY date, origin, carrier
