-- An order that was not found waits for a person, too, while something that showed later makes it doubtful.

comment on column public.orders.doubt is
  'Why the account''s records alone do not tell whether it bought, so that an operator has to (more_candidates, foreign_trades, records_unreadable, no_such_contract). Empty for all others.';

create or replace view public.open_orders with (security_invoker = true) as
select fleet, account, bot, order_id, symbol, contract_type, stake, state, contract_id, intended_at, error_code, doubt
from public.orders
where state in ('intended', 'sent', 'confirmed', 'unknown') or doubt <> ''
order by intended_at;
comment on view public.open_orders is
  'Orders that are not over, the oldest first; an unknown one is being looked up, one with a doubt waits for an operator.';
