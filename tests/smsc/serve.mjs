// An SMSC on a loopback port: `node serve.mjs SETTINGS`. It prints a line of JSON for each thing that happens, the first
// with its port.
//
// Settings: port (0 is a free one), system_id, password, key and cert (PEM) for TLS, decimal_receipts; `script` says what becomes of each
// submit_sm in turn, the last entry also of all that follow: ok, delivered, early (the receipt comes before the answer),
// undelivered, later (the receipt comes to the next session), throttled, full, refused, silent, close, unbind.
import { readFileSync } from 'node:fs';
import smpp from 'smpp';

const settings = JSON.parse(readFileSync(process.argv[2]));
const say = (what) => console.log(JSON.stringify(what));
let submitted = 0;
const later = [];

const receipt = (session, pdu, id, stat) => session.deliver_sm({
  source_addr: pdu.destination_addr,
  destination_addr: pdu.source_addr,
  esm_class: 4,
  short_message: {
    message: `id:${id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010001 stat:${stat} err:000 text:`,
  },
});

const submit = (session, pdu) => {
  const step = settings.script[Math.min(submitted, settings.script.length - 1)];
  submitted += 1;
  const payload = pdu.message_payload?.message ?? pdu.message_payload;
  say({
    event: 'submit', step, to: pdu.destination_addr, from: pdu.source_addr, ton: pdu.dest_addr_ton, coding: pdu.data_coding,
    text: pdu.short_message.message || payload, is_payload: payload !== undefined, validity: pdu.validity_period,
    receipt: pdu.registered_delivery,
  });
  // In hexadecimal in the answer, and with `decimal_receipts` in decimal in the receipt.
  const number = 0xa0 + submitted;
  const received = number.toString(settings.decimal_receipts ? 10 : 16);
  const answer = (status) => session.send(pdu.response({ command_status: status, message_id: number.toString(16) }));
  switch (step) {
    case 'ok': return answer(smpp.ESME_ROK);
    case 'delivered': answer(smpp.ESME_ROK); return receipt(session, pdu, received, 'DELIVRD');
    case 'early': receipt(session, pdu, received, 'DELIVRD'); return answer(smpp.ESME_ROK);
    case 'later': later.push([pdu, received]); return answer(smpp.ESME_ROK);
    case 'undelivered': answer(smpp.ESME_ROK); return receipt(session, pdu, received, 'UNDELIV');
    case 'throttled': return answer(smpp.ESME_RTHROTTLED);
    case 'full': return answer(smpp.ESME_RMSGQFUL);
    case 'refused': return answer(smpp.ESME_RINVDSTADR);
    case 'silent': return undefined;
    case 'close': return session.socket.destroy();
    case 'unbind': answer(smpp.ESME_ROK); return session.unbind();
    default: throw new Error(step);
  }
};

const server = smpp.createServer(settings.cert ? { key: settings.key, cert: settings.cert } : {}, (session) => {
  session.on('error', (error) => say({ event: 'error', code: error.code }));
  session.on('close', () => say({ event: 'closed' }));
  session.on('bind_transceiver', (pdu) => {
    const known = pdu.system_id === settings.system_id && pdu.password === settings.password;
    say({ event: 'bind', known, version: pdu.interface_version, type: pdu.system_type });
    session.send(pdu.response({ command_status: known ? smpp.ESME_ROK : smpp.ESME_RINVPASWD }));
    for (const [pdu, id] of later.splice(0)) receipt(session, pdu, id, 'DELIVRD');
    // It asks as well.
    session.enquire_link({}, () => say({ event: 'enquire-answered' }));
  });
  session.on('enquire_link', (pdu) => { say({ event: 'enquire' }); session.send(pdu.response()); });
  session.on('unbind', (pdu) => { say({ event: 'unbind' }); session.send(pdu.response()); session.close(); });
  session.on('deliver_sm_resp', () => say({ event: 'receipt-answered' }));
  session.on('submit_sm', (pdu) => submit(session, pdu));
});
server.listen(settings.port, '127.0.0.1', () => say({ event: 'listening', port: server.address().port }));
