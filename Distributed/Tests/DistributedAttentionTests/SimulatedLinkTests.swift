import Attention
import Testing

import DistributedAttention

@Suite struct SimulatedLinkTests {
  @Test func messagesFollowEachOther() throws {
    var queue = LinkQueue(try LinkModel(bytesPerSecond: 100, latency: 3))
    #expect(queue.arrival(of: 200, leaving: 10) == 15)
    // Left while the first one was on its way.
    #expect(queue.arrival(of: 100, leaving: 11) == 16)
    // Left after a pause.
    #expect(queue.arrival(of: 100, leaving: 50) == 54)
  }
}
