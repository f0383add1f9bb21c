-- The two roles of Keyreeve and its database, by a superuser of the server, once:
--   psql -f deploy/roles.sql
-- The compose file has its database run this when it is new. The passwords are files, so that they are in no list of processes.
\set ON_ERROR_STOP on
\set owner_password `cat "${KEYREEVE_SECRETS:-/run/secrets}/owner_password"`
\set app_password `cat "${KEYREEVE_SECRETS:-/run/secrets}/app_password"`

-- Owns the tables and migrates them; only `manage.py migrate`, `backup` and `restore` sign in as this one.
CREATE ROLE keyreeve_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'owner_password';
-- Serves people and works. What it may do with each table `manage.py migrate` says.
CREATE ROLE keyreeve_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'app_password';

-- This collation is the quickest and never changes. On PostgreSQL 17 and newer, quicker still:
-- LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LC_COLLATE 'C' LC_CTYPE 'C'
CREATE DATABASE keyreeve OWNER keyreeve_owner TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8';
REVOKE ALL ON DATABASE keyreeve FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE keyreeve TO keyreeve_app;
