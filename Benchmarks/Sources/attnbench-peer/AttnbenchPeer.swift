import Foundation
import Glibc
import PeerProtocol

/// attnbench as a peer: this build's strategies behind the line protocol, so that two builds can take
/// turns in one run.
@main
enum AttnbenchPeer {
  static func main() throws {
    // Answers go where only answers go.
    let answers = FileHandle(fileDescriptor: dup(1), closeOnDealloc: true)
    dup2(2, 1)
    var service = PeerService()
    while let line = readLine() {
      let answer: any Encodable
      do {
        let request = try PeerLine.decoded(Data(line.utf8), as: PeerRequest.self)
        if request.command == .quit { return }
        answer = try service.answer(request)
      } catch {
        answer = PeerRefusal(error: "\(error)")
      }
      try answers.write(contentsOf: PeerLine.encoded(answer))
    }
  }
}
