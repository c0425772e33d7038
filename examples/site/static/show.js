// Asks for this page three times and shows what the server answered.

function show(id, rows) {
  const body = document.querySelector(`#${id} tbody`)
  body.replaceChildren(
    ...rows.map(([name, value]) => {
      const row = document.createElement('tr')
      const [head, cell] = [document.createElement('th'), document.createElement('td')]
      head.textContent = name
      cell.textContent = value
      row.append(head, cell)
      return row
    }),
  )
}

const head = (response) => [
  ['Status', `${response.status} ${response.statusText}`],
  ...['Content-Type', 'Content-Length', 'Content-Range', 'Last-Modified', 'ETag']
    .map((name) => [name, response.headers.get(name)])
    .filter(([, value]) => value !== null),
]

const whole = await fetch(location.pathname, { cache: 'no-store' })
show('whole', head(whole))

// fetch() hides a 304 that answers to the browser's own question, not one that answers to ours.
const again = await fetch(location.pathname, { cache: 'no-store', headers: { 'If-None-Match': whole.headers.get('ETag') } })
show('again', head(again))

const part = await fetch(location.pathname, { cache: 'no-store', headers: { Range: 'bytes=0-14' } })
show('part', [...head(part), ['Body', await part.text()]])
