-- Who may do what. Supabase grants everything in `public` to everybody who asks through its API and leaves the rest to
-- row-level security; here the grants say no as well.

-- In a function of its owner, so that the policy of `members` need not ask itself.
create function public.my_fleets() returns setof text
  language sql stable security definer set search_path = '' as $$
  select fleet from public.members where user_id = (select auth.uid())
$$;
revoke all on function public.my_fleets() from public, anon;
grant execute on function public.my_fleets() to authenticated, service_role;

alter table public.fleets enable row level security;
alter table public.members enable row level security;
alter table public.orders enable row level security;
alter table public.reports enable row level security;
alter table public.alerts enable row level security;

revoke all on public.fleets, public.members, public.orders, public.reports, public.alerts from anon, authenticated;
grant select on public.fleets, public.members, public.orders, public.reports, public.alerts to authenticated;
grant select, insert, update, delete
  on public.fleets, public.members, public.orders, public.reports, public.alerts to service_role;

create policy "members read their fleets" on public.fleets
  for select to authenticated using (fleet in (select public.my_fleets()));
create policy "members read their own membership" on public.members
  for select to authenticated using (user_id = (select auth.uid()));
create policy "members read their fleets" on public.orders
  for select to authenticated using (fleet in (select public.my_fleets()));
create policy "members read their fleets" on public.reports
  for select to authenticated using (fleet in (select public.my_fleets()));
create policy "members read their fleets" on public.alerts
  for select to authenticated using (fleet in (select public.my_fleets()));
