// An OpenID provider on a free loopback port, over TLS: `node serve.mjs SETTINGS`. It prints its port.
//
// It signs with the first of its keys. After a request for /rotate it publishes all of them, and signs with the last.
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const settings = JSON.parse(readFileSync(process.argv[2]));

// As Cognito writes it: no `typ`, and `client_id` in place of `aud`.
const asCognito = (ctx, token, parts) => {
  parts.header = { ...parts.header, typ: undefined };
  // The library insists on one, so it is only left out of the JSON.
  Object.defineProperty(parts.payload, 'aud', { enumerable: false });
  parts.payload.token_use = 'access';
  return parts;
};

const provider = (issuer, keys) => {
  const last = keys.at(-1);
  const resource = () => ({
    scope: 'openid tn.mint',
    audience: settings.audience,
    accessTokenFormat: 'jwt',
    accessTokenTTL: 600,
    jwt: { sign: { alg: last.alg, kid: last.kid } },
  });
  return new Provider(issuer, {
    clients: [{
      client_id: settings.client,
      client_secret: settings.secret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    jwks: {
      keys: keys.map(({ kid, alg, pem }) => ({ ...createPrivateKey(pem).export({ format: 'jwk' }), kid, alg, use: 'sig' })),
    },
    scopes: ['openid', 'tn.mint'],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: { enabled: true, defaultResource: () => settings.audience, getResourceServerInfo: resource },
    },
    extraTokenClaims: () => ({ tn_accounts: 'acme' }),
    formats: { customizers: settings.cognito ? { jwt: asCognito } : {} },
  });
};

const server = createServer({ key: settings.tls_key, cert: settings.tls_certificate });
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const issuer = `https://localhost:${port}`;
  let handle = provider(issuer, settings.keys.slice(0, 1)).callback();
  server.on('request', (request, response) => {
    if (request.url !== '/rotate') {
      return handle(request, response);
    }
    handle = provider(issuer, settings.keys).callback();
    return response.end();
  });
  console.log(port);
});
