// The search of the site runs in a worker, which browsers refuse to pages that are opened as files. Such pages get a
// hidden frame in its place, with the same face: postMessage, message events and importScripts.
class FrameWorker extends EventTarget {
  constructor(url) {
    super()
    this.frame = document.createElement("iframe")
    this.frame.hidden = true
    document.body.appendChild(this.frame)
    addEventListener("message", event => {
      if (event.source !== this.frame.contentWindow) return
      const message = new MessageEvent("message", { data: event.data })
      this.dispatchEvent(message)
      if (this.onmessage) this.onmessage(message)
    })
    const face = `
      postMessage = data => parent.postMessage(data, "*")
      importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise(loaded => {
        const script = document.createElement("script")
        script.src = url
        script.onload = loaded
        document.body.appendChild(script)
      })), Promise.resolve())`
    const page = this.frame.contentWindow.document
    page.open()
    page.write(`<body><script>${face}</script><script src="${url}"></script></body>`)
    page.close()
    this.ready = new Promise(loaded => { this.frame.contentWindow.onload = loaded })
  }

  postMessage(data) {
    this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
  }

  terminate() {
    this.frame.remove()
  }
}

if (location.protocol === "file:") window.Worker = FrameWorker
