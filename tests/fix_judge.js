// jspurefix as a client of FIX 4.4: `node fix_judge.js FOLDER PORT USER PASSWORD STORE`. FOLDER has node_modules; STORE keeps its
// numbers and messages. Each line of standard input is a JSON object: {"enter": ClOrdID, "price": "9.00", "side": "1"}, or
// {"logout": true}. Each line that it prints is one: {"event": "ready"}, {"event": "message", "type": ..., "fields": {...}},
// {"event": "stopped"}.
const path = require('path')
const readline = require('readline')
const [folder, port, user, password, store] = process.argv.slice(2)
const home = path.join(folder, 'node_modules', 'jspurefix')
require(path.join(folder, 'node_modules', 'reflect-metadata'))
const { AsciiSession, JsFixWinstonLogFactory, WinstonLogger } = require(home)
const { SessionLauncher } = require(path.join(home, 'dist', 'runtime'))

function say (said) {
  process.stdout.write(JSON.stringify(said) + '\n')
}

const FIELDS = ['MsgSeqNum', 'PossDupFlag', 'ClOrdID', 'ExecType', 'OrdStatus', 'OrderID', 'LastQty', 'CumQty', 'LeavesQty', 'ExecID']
let session = null

class Client extends AsciiSession {
  constructor (config) {
    super(config)
    session = this
  }

  onReady (view) {
    say({ event: 'ready', seq: view.getTyped('MsgSeqNum') })
  }

  onApplicationMsg (type, view) {
    const fields = {}
    for (const name of FIELDS) {
      const value = view.getString(name)
      if (value !== null && value !== undefined) fields[name] = value
    }
    say({ event: 'message', type, fields })
  }

  onDecoded () {}
  onEncoded () {}
  onLogon () { return true }

  onStopped (error) {
    say({ event: 'stopped', why: error ? String(error.message) : '' })
  }
}

class Launcher extends SessionLauncher {
  constructor () {
    super({
      application: {
        type: 'initiator',
        name: 'judge',
        reconnectSeconds: 1,
        tcp: { host: '127.0.0.1', port: Number(port) },
        protocol: 'ascii',
        dictionary: path.join(home, 'data', 'FIX44.xml')
      },
      Username: user,
      Password: password,
      EncryptMethod: 0,
      ResetSeqNumFlag: false,
      HeartBtInt: 30,
      SenderCompId: user,
      TargetCompID: 'LOCKSTEP',
      BeginString: 'FIX.4.4',
      store: { type: 'file', directory: store }
    }, null, new JsFixWinstonLogFactory(WinstonLogger.consoleOptions(process.env.JUDGE_LOG || 'error')))
  }

  makeFactory () {
    return { makeSession: config => new Client(config) }
  }
}

// It ends by itself once its files are written and standard input is closed.
const launcher = new Launcher()
launcher.run().then(() => say({ event: 'ended' })).catch(error => say({ event: 'failed', why: String(error) }))

readline.createInterface({ input: process.stdin }).on('line', line => {
  const asked = JSON.parse(line)
  if (asked.logout) {
    session.done()
  } else {
    session.send('D', {
      ClOrdID: asked.enter,
      HandlInst: '1',
      Instrument: { Symbol: 'XYZ' },
      Side: asked.side || '1',
      TransactTime: new Date(),
      OrderQtyData: { OrderQty: asked.qty || 1 },
      OrdType: '2',
      Price: Number(asked.price || 9),
      TimeInForce: '0'
    })
  }
})
