import Attention
import MachineTopology
import Testing

@Suite struct BLASTests {
  @Test func theKernelsInForceMultiplyRight() { #expect(BLASProduct.firstFault() == nil) }

  @Test func itDescribesItself() {
    #expect(BLASLibrary.nameAndVersion.hasPrefix("OpenBLAS "))
    #expect(!BLASLibrary.core.isEmpty)
  }

  @Test(arguments: [1, 2, 3])
  func productsHaveARate(threads: Int) throws {
    let rate = try BLASRate(workers: 3)
    #expect(rate.burst(on: try WorkerTeam(threads: threads)) > 0)
    BLASLibrary.useOneThread()
    #expect(BLASLibrary.threads == 1)
  }

  @Test func aSpeedIsHeldAgainstThePeak() throws {
    let speed = try BLASSpeed.measured()
    #expect(speed.core == BLASLibrary.core)
    #expect(speed.gflopPerSecond > 0 && speed.peakGflopPerSecond > 0)
    let slow = BLASSpeed(core: "Prescott", gflopPerSecond: 15, peakGflopPerSecond: 100)
    #expect(slow.share == 0.15 && !slow.isPlausible)
    #expect(BLASSpeed(core: "SkylakeX", gflopPerSecond: 50, peakGflopPerSecond: 100).isPlausible)
  }

  @Test(arguments: ["full", "flash", "linear", "window(8)"])
  func onlyTheBaselineUsesIt(strategy: String) throws {
    #expect(try Specimen.registry.strategy(strategy).usesBLAS == (strategy == "full"))
  }
}
